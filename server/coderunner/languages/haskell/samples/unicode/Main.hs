main :: IO ()
main = mapM_ line ["Grüße", "Привет", "こんにちは", "🙂"]
  where
    line word = putStrLn (word ++ " " ++ show (length word))
