package strict_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/errcode"
	"github.com/smartvm/smartvm/internal/strict"
)

// temperature is text with a type of its own.
type temperature int

func (t *temperature) UnmarshalText(text []byte) error {
	if _, err := fmt.Sscanf(string(text), "%dC", (*int)(t)); err != nil {
		return errors.New("is no temperature such as 20C")
	}
	return nil
}

type room struct {
	Name    string      `json:"name"`
	Size    int         `json:"size,omitempty"`
	Warmth  temperature `json:"warmth,omitempty"`
	Heating *heating    `json:"heating,omitempty"`
}

type heating struct {
	File string `json:"-" strict:"text"`
	Fuel string `json:"fuel"`
}

func decode(text string, how func(*strict.Faults, *strict.Node, any, string)) (room, string) {
	var f strict.Faults
	var r room
	if strict.Readable(&f, []byte(text)) {
		if n := strict.ReadJSON(&f, []byte(text)); n != nil {
			how(&f, n, &r, "room")
		}
	}
	var b strings.Builder
	for _, d := range f.Details {
		b.WriteString(d.String() + "\n")
	}
	return r, b.String()
}

func TestDecodeTakesTextWhereATypeDoes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text, faults string
		want         room
	}{
		{`{"name": "a", "warmth": "20C"}`, "", room{Name: "a", Warmth: 20}},
		{`{"warmth": "hot"}`, "room.warmth: is no temperature such as 20C (line 1)\n", room{}},
		{`{"warmth": 20}`, "room.warmth: want text, found the number 20: put it in quotes (line 1)\n", room{}},
		{`{"heating": "x.json"}`, "", room{Heating: &heating{File: "x.json"}}},
		{`{"heating": {"fuel": "oil"}}`, "", room{Heating: &heating{Fuel: "oil"}}},
		{`{"heating": {"file": "x"}}`, "room.heating.file: unknown key (line 1)\n", room{Heating: &heating{}}},
		{`{"heating": ""}`, "room.heating: want an object, found the text \"\" (line 1)\n", room{Heating: &heating{}}},
	}
	for _, tt := range tests {
		got, faults := decode(tt.text, strict.Decode)
		if diff := cmp.Diff(tt.want, got); diff != "" || faults != tt.faults {
			t.Errorf("%s: got %q, want %q (-want +got):\n%s", tt.text, faults, tt.faults, diff)
		}
	}
}

func TestOnlyExactDecodingMindsNullAndEmptyOptions(t *testing.T) {
	t.Parallel()
	const text = `{"name": null,
 "size": 0,
 "warmth": "0C",
 "heating": null}`
	if _, faults := decode(text, strict.Decode); faults != "" {
		t.Errorf("got %q, want none", faults)
	}
	_, got := decode(text, strict.DecodeExact)
	want := `room.name: can't be null (line 1)
room.size: can't be the number 0: leave it out (line 2)
room.warmth: can't be the text "0C": leave it out (line 3)
room.heating: can't be null (line 4)
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, faults := decode(`{"name": ""}`, strict.DecodeExact); faults != "" {
		t.Errorf("an empty text that can't be left out: got %q, want none", faults)
	}
}

func TestExactDecodingMindsAnObjectWithNothingInIt(t *testing.T) {
	t.Parallel()
	type house struct {
		Shed heating `json:"shed,omitzero"`
	}
	for text, want := range map[string]string{
		`{}`:                        "",
		`{"shed": {"fuel": "oil"}}`: "",
		`{"shed": {}}`:              "shed: can't be empty: leave it out (line 1)",
		`{"shed": {"fuel": ""}}`:    "shed: can't be empty: leave it out (line 1)",
		`{"shed": null}`:            "shed: can't be null (line 1)",
		`{"shed": {"fuel": 1}}`:     "shed.fuel: want text, found the number 1: put it in quotes (line 1)",
	} {
		var f strict.Faults
		var got house
		strict.DecodeExact(&f, strict.ReadJSON(&f, []byte(text)), &got, "")
		if faults := joined(&f); faults != want {
			t.Errorf("%s: got %q, want %q", text, faults, want)
		}
	}
}

func TestFaultsWithoutAMistakeAreNoError(t *testing.T) {
	t.Parallel()
	var f strict.Faults
	if err := f.Err(errcode.InvalidConfig, "test"); err != nil {
		t.Errorf("got %v", err)
	}
	f.At(3, "a", "is %s", strict.Quote("b\n"))
	if err := f.Err(errcode.InvalidConfig, "test"); !errors.Is(err, errcode.InvalidConfig) || err.Error() != `test: a: is "b\n" (line 3)` {
		t.Errorf("got %v", err)
	}
}

// level is text that may be a number, too.
type level string

func (l *level) UnmarshalText(text []byte) error {
	*l = level(text)
	return nil
}

func (l *level) UnmarshalJSON(data []byte) error {
	*l = level("number " + string(data))
	return nil
}

func TestDecodeTakesANumberWhereATypeDoes(t *testing.T) {
	t.Parallel()
	var f strict.Faults
	var got struct {
		A level `json:"a"`
		B level `json:"b"`
		C level `json:"c"`
	}
	strict.Decode(&f, strict.Read(&f, []byte(`{"a": "3", "b": 3.5e1, "c": true}`)), &got, "")
	if got.A != "3" || got.B != "number 3.5e1" || len(f.Details) != 1 || f.Details[0].String() != "c: want text, found true: put it in quotes (line 1)" {
		t.Errorf("got %+v, %v", got, f.Details)
	}
}

func TestOnlyFilledDecodingMindsNullAndKeepsEmptyLists(t *testing.T) {
	t.Parallel()
	type shelf struct {
		Books []string `json:"books,omitempty"`
		Depth int      `json:"depth,omitempty"`
	}
	for _, tt := range []struct {
		text, faults string
		isNil        bool
	}{
		{`{"books": []}`, "", false},
		{`{"depth": 0}`, "", true},
		{"books:\n", "shelf.books: can't be null (line 1)", true},
		{"null", "shelf: can't be null (line 1)", true},
	} {
		var f strict.Faults
		var got shelf
		strict.DecodeFilled(&f, strict.Read(&f, []byte(tt.text)), &got, "shelf")
		faults := ""
		for _, d := range f.Details {
			faults += d.String()
		}
		if faults != tt.faults || (got.Books == nil) != tt.isNil {
			t.Errorf("%q: got %q, nil = %t", tt.text, faults, got.Books == nil)
		}
		var other strict.Faults
		strict.Decode(&other, strict.Read(&other, []byte(tt.text)), &got, "shelf")
		if len(other.Details) > 0 {
			t.Errorf("%q: Decode minds %v", tt.text, other.Details)
		}
	}
}

func TestAFieldCanBeExactInAnyDocument(t *testing.T) {
	t.Parallel()
	type limits struct {
		Cores float64  `json:"cores,omitempty"`
		Names []string `json:"names,omitempty"`
	}
	type vm struct {
		Limits *limits `json:"limits,omitempty" strict:"exact"`
		Size   int     `json:"size,omitempty"`
	}
	for text, want := range map[string]string{
		"limits: {cores: 1.5, names: [a]}": "",
		"limits: {}\nsize: 0":              "",
		"limits: {cores: 0.0}":             "limits.cores: can't be the number 0.0: leave it out (line 1)",
		"limits: {cores: -0.0}":            "limits.cores: can't be the number -0.0: leave it out (line 1)",
		"limits: {cores: null}\nsize:":     "limits.cores: can't be null (line 1)",
		"limits: {cores: 1e999}":           "limits.cores: 1e999 is out of range (line 1)",
		"limits: {cores: two}":             "limits.cores: want a number, found the text \"two\" (line 1)",
		"limits: {names: []}":              "limits.names: can't be empty: leave it out (line 1)",
		"limits:":                          "limits: can't be null (line 1)",
	} {
		var f strict.Faults
		var got vm
		strict.Decode(&f, strict.Read(&f, []byte(text)), &got, "")
		if faults := joined(&f); faults != want {
			t.Errorf("%q: got %q, want %q", text, faults, want)
		}
		if want == "" && got.Limits == nil || strings.Contains(text, "1.5") && got.Limits.Cores != 1.5 {
			t.Errorf("%q: got %+v", text, got.Limits)
		}
	}
}

func TestReadTellsJSONFromYAML(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		" \n{\"name\": \"Off\"}": "Off",
		"name: Off":              "Off",
		"{name: Off}":            "", // begins as JSON does, and is YAML
		"name: [":                "",
		"\xff":                   "",
		"":                       "",
	} {
		var f strict.Faults
		var got room
		if n := strict.Read(&f, []byte(text)); n != nil {
			strict.Decode(&f, n, &got, "")
		}
		if got.Name != want || (want == "") != (len(f.Details) > 0) {
			t.Errorf("%q: got %q, %v", text, got.Name, f.Details)
		}
	}
}

func TestMistakesOfAPartAreBelowItsField(t *testing.T) {
	t.Parallel()
	var part, whole strict.Faults
	part.Add("", "is bad")
	part.Add("a", "is worse")
	part.Add("[3].b", "is worst, 100%%")
	whole.AddAll("x", nil)
	whole.AddAll("x", fmt.Errorf("wrapped: %w", part.Err(errcode.InvalidConfig, "test")))
	whole.AddAll("y", errors.New("plain, 100%"))
	var got []string
	for _, d := range whole.Details {
		got = append(got, d.String())
	}
	want := []string{"x: is bad", "x.a: is worse", "x[3].b: is worst, 100%", "y: plain, 100%"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// joined is all that a decoder has found, in one line.
func joined(f *strict.Faults) (all string) {
	for _, d := range f.Details {
		all += d.String()
	}
	return all
}
