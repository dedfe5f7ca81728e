use itertools::Itertools;
use rand::Rng;

fn main() {
    let throw = rand::thread_rng().gen_range(1..=6);
    println!("{}", (1..=6).contains(&throw));
    println!("{}", (1..=3).join("-"));
}
