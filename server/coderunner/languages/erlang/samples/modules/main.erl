-module(main).
-export([main/1]).

main(_) ->
    io:format("~.3f~n", [circle:area(2)]).
