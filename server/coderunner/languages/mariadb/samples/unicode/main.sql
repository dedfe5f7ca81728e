SELECT 'Grüße' AS word, char_length('Grüße') AS length
UNION SELECT 'Привет', char_length('Привет')
UNION SELECT 'こんにちは', char_length('こんにちは')
UNION SELECT '🙂', char_length('🙂');
