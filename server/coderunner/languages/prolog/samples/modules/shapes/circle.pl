:- module(circle, [area/2]).

area(Radius, Area) :-
    Area is pi * Radius ** 2.
