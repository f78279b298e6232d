//! The inputs of a set: whether each fits the template.

use super::{
    draft::Draft,
    member::input_of,
    observed::{BadInput, TemplateSeen},
};
use crate::{
    api::{set::LongTaskSetSpec, template::LongTaskTemplate},
    contract::input,
    start::{input::Checker, task::pod_template},
};

/// The most bytes of all items together, as compact JSON.
const LARGEST_ITEMS: usize = 128 * 1024;

/// What is wrong with the first input that does not fit the template, if one does not. All of them are asked: it takes a
/// moment with many items.
pub fn check(spec: &LongTaskSetSpec, template: &LongTaskTemplate) -> Option<BadInput> {
    let size: usize = spec.items.iter().flatten().map(|item| input::compact(item).len() + 1).sum();
    if size > LARGEST_ITEMS {
        let message = format!(
            "spec.items has {size} bytes as compact JSON; {LARGEST_ITEMS} are allowed: write spec.count, and have the program \
             read a list"
        );
        return Some(BadInput::Input(None, message));
    }
    let pod = pod_template(template).and_then(|template| template.spec);
    let checker = match Checker::new(template.spec.input_schema.as_ref(), pod) {
        Ok(checker) => checker,
        Err(error) => return Some(BadInput::Schema(format!("spec.inputSchema cannot be used: {error}"))),
    };
    // Without items, all have the same input.
    let last = if spec.items.is_some() { spec.total() } else { 1 };
    (0..last).find_map(|index| {
        let error = checker.check(input_of(spec, index).as_ref()).err()?;
        Some(BadInput::Input(Some(index).filter(|_| spec.items.is_some()), error.to_string()))
    })
}

/// Records that all inputs were found valid, and which edition of the template members are made from.
pub(super) fn learn(draft: &mut Draft<'_>) {
    let TemplateSeen::Found(generation) = draft.seen.template else { return };
    if draft.seen.inputs.bad.is_some() {
        return;
    }
    if draft.status.input_digest.is_none() {
        draft.status.input_digest = Some(draft.seen.inputs.digest.clone());
    }
    if draft.status.template_generation == Some(generation) || !draft.has_more_to_start() {
        return;
    }
    let is_edit = draft.status.template_generation.is_some() && draft.status.next > 0;
    draft.status.template_generation = Some(generation);
    if is_edit {
        let name = &draft.set.spec.template_ref.name;
        let note = format!(
            "LongTaskTemplate {name} was changed: members made from now on are of its generation {generation}. Those that exist \
             keep their copies; a new spec.restart.token with renew has those that go on take it as well."
        );
        draft.event(super::steps::SetEventReason::TemplateChanged, &note);
    }
}

/// What is wrong with an input before any member was started: the set fails at once.
pub(super) fn bad_from_the_start(draft: &Draft<'_>) -> Option<BadInput> {
    let has_begun = draft.status.next > 0 || draft.status.input_digest.is_some();
    let is_known = matches!(draft.seen.template, TemplateSeen::Found(_));
    draft.seen.inputs.bad.clone().filter(|bad| is_known && !has_begun && matches!(bad, BadInput::Input(..)))
}

/// What is wrong, in a sentence.
pub(super) fn words(draft: &Draft<'_>, bad: &BadInput) -> String {
    let template = &draft.set.spec.template_ref.name;
    match bad {
        BadInput::Schema(error) => format!("LongTaskTemplate {template}: {error}"),
        BadInput::Input(None, error) => format!("the input does not fit LongTaskTemplate {template}: {error}"),
        BadInput::Input(Some(index), error) => {
            format!("the input of member {index} does not fit LongTaskTemplate {template}: {error}")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is wrong with items of so many letters each.
    fn wrong(letters: impl IntoIterator<Item = usize>) -> Option<BadInput> {
        let items: Vec<Value> = letters.into_iter().map(|letters| json!({ "f": "x".repeat(letters) })).collect();
        let spec = serde_json::from_value(json!({ "templateRef": { "name": "t" }, "items": items })).expect("a spec");
        let template = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskTemplate", "metadata": { "name": "t" },
            "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
        }));
        check(&spec, &template.expect("a template"))
    }

    #[test]
    fn items_of_128_kib_together_fit_and_one_byte_more_does_not() {
        // Beside its letters an item has eight bytes, and its comma.
        let full = 16 * 1024 - 9;
        assert_eq!(wrong([full; 8]), None);
        let Some(BadInput::Input(None, said)) = wrong([full, full, full, full, full, full, full, full + 1]) else {
            panic!("more than 128 KiB fit")
        };
        assert!(said.starts_with("spec.items has 131073 bytes as compact JSON; 131072 are allowed"), "{said}");
        assert_eq!(wrong(vec![4; 10_000]), None, "so many small ones");
    }

    #[test]
    fn an_item_of_16_kib_fits_and_one_byte_more_does_not() {
        assert_eq!(wrong([1, 16 * 1024 - 8]), None);
        assert!(matches!(wrong([1, 16 * 1024 - 7]), Some(BadInput::Input(Some(1), _))));
    }
}
