use strict;
use warnings;

$| = 1;
print "What is your name? ";
chomp(my $name = <STDIN>);
print "Hello, $name!\n";
