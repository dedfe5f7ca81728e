use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));

print "$_ ", length $_, "\n" for qw(Grüße Привет こんにちは 🙂);
