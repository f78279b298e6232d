//! What is committed holds together: the definition, the pages about it, the documentation, the rooms of the code, and what is
//! linked into which program.

mod architecture;
mod definition;
mod docs;
mod packages;
mod reasons;
mod reference;
