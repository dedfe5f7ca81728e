<?php
echo "never\n";
if (true {
