package shapes

import "gopkg.in/yaml.v3"

// Text is a circle as YAML.
func Text() string {
	text, err := yaml.Marshal(map[string]int{"radius": 2})
	if err != nil {
		panic(err)
	}
	return string(text)
}
