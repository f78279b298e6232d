//! What is committed holds together: the definition, the pages about it, the documentation, and the rooms of the code.

mod architecture;
mod definition;
mod docs;
mod reasons;
mod reference;
