//! A new migration must trigger a rebuild: the migrations are embedded.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
