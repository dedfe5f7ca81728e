say "before";
say [1, 2].pick.no-such-method;
say "never";
