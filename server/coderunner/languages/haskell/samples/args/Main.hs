import System.Environment

main :: IO ()
main = do
  arguments <- getArgs
  mapM_ (\(number, argument) -> putStrLn (show number ++ " " ++ argument)) (zip [1 :: Int ..] arguments)
