module Shapes.Circle (Circle (..), area) where

newtype Circle = Circle {radius :: Double}

area :: Circle -> Double
area circle = pi * radius circle ^ (2 :: Int)
