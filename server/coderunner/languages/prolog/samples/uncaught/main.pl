:- format("before~n").
:- X is foo + 1, writeln(X).
