use std::process::exit;

fn main() {
    println!("leaving with 7");
    exit(7);
}
