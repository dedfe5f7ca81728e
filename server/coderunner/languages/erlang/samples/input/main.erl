-module(main).
-export([main/1]).

main(_) ->
    Name = string:trim(io:get_line("What is your name? ")),
    io:format("Hello, ~ts!~n", [Name]).
