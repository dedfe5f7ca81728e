<?php
require_once __DIR__ . "/shapes/Circle.php";

use Shapes\Circle;

printf("%.3f\n", (new Circle(2))->area());
