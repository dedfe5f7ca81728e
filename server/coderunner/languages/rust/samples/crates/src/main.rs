use itertools::Itertools;

fn main() {
    println!("{}", (1..=3).join("-"));
    println!("{:?}", [3, 1, 2].iter().sorted().collect_vec());
}
