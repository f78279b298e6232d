//! The `longtask` program.

fn main() {
    match longtask::api::crd::yaml() {
        Ok(yaml) => print!("{yaml}"),
        Err(error) => eprintln!("{error}"),
    }
}
