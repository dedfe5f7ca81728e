use area::circle_area;

fn main() {
    let radius = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1.0);
    println!("{:.3}", circle_area(radius));
}
