package vmconfig

import (
	"encoding/json"
	"reflect"
)

// Clone returns a deep copy: nothing that can be changed is shared. Metadata
// that is no JSON, which Validate refuses, is the exception.
func (c *Config) Clone() *Config {
	shallow := *c
	// Only what ends can be copied; encoding/json knows a cycle when it sees one.
	if _, err := json.Marshal(c.Metadata); err != nil {
		shallow.Metadata = nil
	}
	out := new(Config)
	deepCopy(reflect.ValueOf(out).Elem(), reflect.ValueOf(shallow))
	if shallow.Metadata == nil {
		out.Metadata = c.Metadata
	}
	return out
}

// deepCopy copies src to dst. Reflection, and not a list of fields, because a
// field that is forgotten here would be shared silently.
func deepCopy(dst, src reflect.Value) {
	dst.Set(src) // what has no reference inside, and nil
	if isNil(src) {
		return
	}
	switch src.Kind() {
	case reflect.Struct:
		for i := range src.NumField() {
			if dst.Field(i).CanSet() {
				deepCopy(dst.Field(i), src.Field(i))
			}
		}
	case reflect.Pointer:
		dst.Set(reflect.New(src.Type().Elem()))
		deepCopy(dst.Elem(), src.Elem())
	case reflect.Interface:
		dst.Set(copied(src.Elem()))
	case reflect.Slice, reflect.Array:
		if src.Kind() == reflect.Slice {
			dst.Set(reflect.MakeSlice(src.Type(), src.Len(), src.Len()))
		}
		for i := range src.Len() {
			deepCopy(dst.Index(i), src.Index(i))
		}
	case reflect.Map:
		dst.Set(reflect.MakeMapWithSize(src.Type(), src.Len()))
		for key, value := range src.Seq2() {
			dst.SetMapIndex(key, copied(value))
		}
	default:
	}
}

func isNil(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
		return v.IsNil()
	default:
		return false
	}
}

// copied is deepCopy for a value that has no address to copy to.
func copied(src reflect.Value) reflect.Value {
	out := reflect.New(src.Type()).Elem()
	deepCopy(out, src)
	return out
}
