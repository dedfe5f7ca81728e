use std::env;

fn main() {
    for (number, argument) in env::args().enumerate().skip(1) {
        println!("{number} {argument}");
    }
}
