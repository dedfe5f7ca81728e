module Main where

import Control.Concurrent.Async (concurrently)
import Control.Parallel (par, pseq)
import Data.List.Split (splitOn)
import qualified Data.HashMap.Strict as H
import qualified Data.Map as M
import qualified Data.Text as T
import qualified Data.Vector as V
import System.Random (mkStdGen, randomR)
import Test.QuickCheck (isSuccess, quickCheckWithResult, stdArgs, chatty)
import Text.Regex.TDFA ((=~))

main :: IO ()
main = do
  print (splitOn "," "a,b")
  print (M.toList (M.fromListWith (+) [(1 :: Int, 2 :: Int), (1, 3)]), H.size (H.fromList [("a", 1 :: Int)]))
  print (V.sum (V.fromList [1, 2, 3 :: Int]), T.unpack (T.toUpper (T.pack "ab")))
  print (let (n, _) = randomR (1, 6) (mkStdGen 1) in n >= (1 :: Int) && n <= 6)
  print ("caat" =~ "a+" :: String)
  pair <- concurrently (pure 'x') (pure 'y')
  print (let a = 2 + 2 :: Int in a `par` a `pseq` (a, pair))
  result <- quickCheckWithResult stdArgs { chatty = False } (\xs -> reverse (reverse xs) == (xs :: [Int]))
  print (isSuccess result)
