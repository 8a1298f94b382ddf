package baseimage_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/smartvm/smartvm/baseimage"
)

const assets = "../assets/base-images/"

func asset(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(assets, name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func compile(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(asset(tb, "manifest.schema.json")))
	if err != nil {
		tb.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("manifest.json", text); err != nil {
		tb.Fatal(err)
	}
	schema, err := c.Compile("manifest.json")
	if err != nil {
		tb.Fatal(err)
	}
	return schema
}

// fits is the schema's judgement.
func fits(tb testing.TB, schema *jsonschema.Schema, manifest []byte) error {
	tb.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(manifest))
	if err != nil {
		tb.Fatal(err)
	}
	return schema.Validate(value)
}

func TestExampleManifestsAreValid(t *testing.T) {
	t.Parallel()
	for name, initrd := range map[string]bool{"smartvm-minimal": false, "smartvm-debian": true} {
		data := asset(t, name+".manifest.example.json")
		m, err := baseimage.ParseManifest(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := fits(t, compile(t), data); err != nil {
			t.Error(err)
		}
		if want := baseimage.DefaultBootArgs(m.RootfsType, m.RootfsIsReadOnly); m.BootArgs != want {
			t.Errorf("%s: boot args %q, want %q", name, m.BootArgs, want)
		}
		if has := m.Initrd != (baseimage.ArtifactManifest{}); has != initrd {
			t.Errorf("%s: has an initrd: %t", name, has)
		}
	}
}

func TestSchemaAndParserAgree(t *testing.T) {
	t.Parallel()
	schema := compile(t)
	judge := func(name string, data []byte) {
		t.Helper()
		_, parseErr := baseimage.ParseManifest(data)
		if schemaErr := fits(t, schema, data); (schemaErr == nil) != (parseErr == nil) {
			t.Errorf("%s:\nthe schema says %v\nthe parser says %v\nof %s", name, schemaErr, parseErr, data)
		}
	}
	for _, tt := range rules {
		if strings.HasPrefix(tt.name, "one file name for ") { // a schema can't compare values; its description says so
			continue
		}
		m := good()
		tt.spoil(m)
		judge(tt.name, encode(t, m))
	}
	whole := string(encode(t, good()))
	for _, change := range [][2]string{
		{`"schemaVersion":1`, `"schemaVersion":"1"`},
		{`"schemaVersion":1`, `"schemaVersion":null`},
		{`"rootfsIsReadOnly":true,`, ``},
		{`"rootfsIsReadOnly":true`, `"rootfsIsReadOnly":null`},
		{`"rootfsType":"squashfs","rootfsIsReadOnly":true,`, `"rootfsType":"ext4",`},
		{`"name":"Mini"`, `"name":null`},
		{`"name":"Mini"`, `"name":1`},
		{`"name":"Mini"`, `"name":"Mini","comment":"x"`},
		{`"v1.15.1"`, `"1.15.1"`},
		{`"v1.15.1"`, `"v1.15"`},
		{`"v1.15.1"`, `"v1.015.1"`},
		{`"v1.15.1"`, `"v1.15.1-dev"`},
		{`"v1.15.1"`, `{"Major":1}`},
		{`"sizeBytes":1`, `"sizeBytes":0`},
		{`"sizeBytes":1`, `"sizeBytes":1.5`},
		{`"sizeBytes":1`, `"sizeBytes":"1"`},
		{`"sizeBytes":1`, `"sizeBytes":1e99`},
		{`"sizeBytes":1`, `"sizebytes":1`},
		{`"path":"root.squashfs"`, `"path":""`},
		{`"path":"root.squashfs"`, `"path":null`},
		{hashA, strings.ToUpper(hashA)},
		{hashA, strings.Repeat("g", 64)},
		{`"kernel":{`, `"kernel":[],"other":{`},
		{`"rootfs":{`, `"initrd":{"path":"i","fileName":"i"},"rootfs":{`},
		{`"rootfs":{`, `"initrd":{"url":"i","fileName":"i"},"rootfs":{`},
		{`"rootfs":{`, `"initrd":{"path":"i"},"rootfs":{`},
		{`"rootfs":{`, `"initrd":{"fileName":""},"rootfs":{`},
		{`"rootfs":{`, `"initrd":{},"rootfs":{`},
		{`"rootfs":{`, `"initrd":null,"rootfs":{`},
		{`"rootfs":{`, `"initrd":[],"rootfs":{`},
		{`"rootfs":{`, `"initrd":"i","rootfs":{`},
	} {
		if !strings.Contains(whole, change[0]) {
			t.Fatalf("there is no %s in %s", change[0], whole)
		}
		judge(change[1], []byte(strings.Replace(whole, change[0], change[1], 1)))
	}
	for _, name := range []string{"mistakes-rules.json", "mistakes-empty.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		judge(name, data)
	}
}

// object is what the test reads of the schema.
type object struct {
	Additional *bool               `json:"additionalProperties"`
	Required   []string            `json:"required"`
	Properties map[string]property `json:"properties"`
}

type property struct {
	Const     any      `json:"const"`
	Enum      []string `json:"enum"`
	Pattern   string   `json:"pattern"`
	MaxLength int      `json:"maxLength"`
	Maximum   int64    `json:"maximum"`
	Not       struct {
		Enum []string `json:"enum"`
	} `json:"not"`
}

func TestSchemaHasTheKeysOfTheManifest(t *testing.T) {
	t.Parallel()
	whole, artifact := schemaObjects(t)
	for _, tt := range []struct {
		schema object
		of     reflect.Type
	}{
		{whole, reflect.TypeFor[baseimage.Manifest]()},
		{artifact, reflect.TypeFor[baseimage.ArtifactManifest]()},
	} {
		var names, required []string
		for _, f := range reflect.VisibleFields(tt.of) {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
			// A bool that is left out is false.
			if options != "omitempty" && options != "omitzero" && f.Type.Kind() != reflect.Bool {
				required = append(required, name)
			}
		}
		if tt.schema.Additional == nil || *tt.schema.Additional {
			t.Errorf("%v: the schema lets other keys pass", tt.of)
		}
		got := make([]string, 0, len(names))
		for name := range tt.schema.Properties {
			got = append(got, name)
		}
		slices.Sort(names)
		slices.Sort(got)
		if diff := cmp.Diff(names, got); diff != "" {
			t.Errorf("%v: keys (-Go +schema):\n%s", tt.of, diff)
		}
		if diff := cmp.Diff(required, tt.schema.Required); diff != "" {
			t.Errorf("%v: required keys (-Go +schema):\n%s", tt.of, diff)
		}
	}
}

func TestSchemaHasTheRulesOfTheManifest(t *testing.T) {
	t.Parallel()
	whole, artifact := schemaObjects(t)
	all := maps.Clone(whole.Properties)
	for name, p := range artifact.Properties {
		all["artifact."+name] = p
	}
	for field, want := range baseimage.Patterns {
		if got := all[field].Pattern; got != want.String() {
			t.Errorf("%s: the schema has the pattern\n%s\nthe parser\n%s", field, got, want)
		}
	}
	numbers := map[string]int64{}
	for field, p := range all {
		if n := max(p.Maximum, int64(p.MaxLength)); n > 0 {
			numbers[field] = n
		}
	}
	if diff := cmp.Diff(map[string]int64{
		"name": baseimage.MaxName, "bootArgs": int64(baseimage.MaxBootArgs), "artifact.url": baseimage.MaxURL,
		"artifact.path": baseimage.MaxPath, "artifact.sizeBytes": baseimage.MaxSize,
	}, numbers); diff != "" {
		t.Errorf("limits (-Go +schema):\n%s", diff)
	}
	got := [][]string{all["arch"].Enum, all["rootfsType"].Enum, all["artifact.fileName"].Not.Enum}
	if diff := cmp.Diff([][]string{baseimage.Arches, baseimage.RootfsTypes, baseimage.ReservedNames}, got); diff != "" {
		t.Errorf("names (-Go +schema):\n%s", diff)
	}
}

func schemaObjects(t *testing.T) (whole, artifact object) {
	t.Helper()
	var schema struct {
		object

		Defs struct {
			Artifact object `json:"artifact"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(asset(t, "manifest.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	return schema.object, schema.Defs.Artifact
}
