use std::io::{self, Write};

fn main() -> io::Result<()> {
    print!("What is your name? ");
    io::stdout().flush()?;
    let mut name = String::new();
    io::stdin().read_line(&mut name)?;
    println!("Hello, {}!", name.trim());
    Ok(())
}
