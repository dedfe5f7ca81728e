use strict;
use warnings;

$| = 1;
print "before\n";
my %empty;
print $empty{missing}->name;
print "never\n";
