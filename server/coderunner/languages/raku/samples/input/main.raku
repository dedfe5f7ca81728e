my $name = prompt "What is your name? ";
say "Hello, $name!";
