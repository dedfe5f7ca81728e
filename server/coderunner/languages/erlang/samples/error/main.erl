-module(main).
-export([main/1]).

main(_) ->
    io:format("before~n"),
    io:format("~b~n", [lists:nth(3, [1, 2])]),
    io:format("never~n").
