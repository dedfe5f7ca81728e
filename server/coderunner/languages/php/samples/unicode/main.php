<?php
foreach (["Grüße", "Привет", "こんにちは", "🙂"] as $word) {
    echo $word, " ", mb_strlen($word), "\n";
}
