import Shapes.Circle
import Text.Printf

main :: IO ()
main = printf "%.3f\n" (area (Circle 2))
