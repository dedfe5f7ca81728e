SELECT 'leaving with 7' AS moment;
.exit 7
