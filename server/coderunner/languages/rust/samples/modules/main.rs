mod shapes;

use shapes::circle::Circle;

fn main() {
    println!("{:.3}", Circle { radius: 2.0 }.area());
}
