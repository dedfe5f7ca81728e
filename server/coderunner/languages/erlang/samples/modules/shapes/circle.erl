-module(circle).
-export([area/1]).

area(Radius) ->
    math:pi() * Radius * Radius.
