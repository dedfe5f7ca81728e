use strict;
use warnings;
use lib ".";
use Shapes::Circle;

printf "%.3f\n", Shapes::Circle->new(2)->area;
