package Shapes::Circle;
use strict;
use warnings;

sub new {
    my ($class, $radius) = @_;
    return bless { radius => $radius }, $class;
}

sub area {
    my ($self) = @_;
    return atan2(1, 1) * 4 * $self->{radius} ** 2;
}

1;
