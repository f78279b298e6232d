//! One watch, several listeners: a kind is watched once, whoever else wants to hear of its objects.

use kube::runtime::watcher::Event;

/// What is told of each event of a watch, before the watch's own controller looks.
pub type Listener<K> = Box<dyn FnMut(&Event<K>) + Send + Sync>;

/// Who listens to a watch.
pub struct Fanout<K>(Vec<Listener<K>>);

impl<K> Default for Fanout<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K> Fanout<K> {
    /// One more listens.
    pub fn add(&mut self, listener: Listener<K>) {
        self.0.push(listener);
    }

    /// Tells all of them of an event, in the order in which they came.
    pub fn tell(&mut self, event: &Event<K>) {
        for listener in &mut self.0 {
            listener(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn each_listener_hears_each_event() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut fanout = Fanout::default();
        for name in ["a", "b"] {
            let heard = Arc::clone(&heard);
            fanout.add(Box::new(move |event: &Event<u8>| {
                if let Event::Apply(number) = event {
                    heard.lock().expect("no panic").push((name, *number));
                }
            }));
        }
        fanout.tell(&Event::Apply(1));
        fanout.tell(&Event::Init);
        fanout.tell(&Event::Apply(2));
        assert_eq!(*heard.lock().expect("no panic"), [("a", 1), ("b", 1), ("a", 2), ("b", 2)]);
    }
}
