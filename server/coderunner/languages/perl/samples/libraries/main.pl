use strict;
use warnings;
use DateTime;
use DBI;
use JSON;

package Point;
use Moose;
has x => (is => 'ro', isa => 'Int');

package main;
print Point->new(x => 3)->x, "\n";
print JSON->new->canonical->encode({ a => [1, 2], b => JSON::true }), "\n";
print DateTime->new(year => 2024, month => 2, day => 28)->add(days => 1)->ymd, "\n";
my $base = DBI->connect('dbi:SQLite:dbname=:memory:', '', '', { RaiseError => 1 });
print $base->selectrow_array('SELECT 6 * 7'), "\n";
