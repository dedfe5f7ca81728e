<?php
echo bcadd('123456789012345678901234567890', '1'), "\n";
echo gmp_strval(gmp_pow(2, 70)), "\n";
echo mb_strtoupper('grüße'), "\n";
echo (new NumberFormatter('de_DE', NumberFormatter::DECIMAL))->format(1234.5), "\n";
echo simplexml_load_string('<a><b>3</b></a>')->b, "\n";
echo (new PDO('sqlite::memory:'))->query('SELECT 6 * 7')->fetchColumn(), "\n";
