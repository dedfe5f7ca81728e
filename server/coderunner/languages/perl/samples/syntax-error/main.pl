use strict;
use warnings;

print "never\n";
print $undeclared;
