package baseimage_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/baseimage"
	"github.com/smartvm/smartvm/errcode"
)

func TestTreeListingStaysInTheTree(t *testing.T) {
	t.Parallel()
	tree, outside := t.TempDir(), t.TempDir()
	dir := filepath.Join(tree, train15)
	for _, path := range []string{dir, filepath.Join(tree, "shared")} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for path, target := range map[string]string{
		filepath.Join(dir, "vmlinux-6.1.155"):       "../../../shared/kernel",
		filepath.Join(dir, "vmlinux-6.1.156"):       filepath.Join(outside, "kernel"),
		filepath.Join(dir, "vmlinux-6.1.157"):       "vmlinux-6.1.157",
		filepath.Join(dir, "ubuntu-24.04.squashfs"): "../../../shared/kernel",
	} {
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{filepath.Join(tree, "shared/kernel"), filepath.Join(outside, "kernel")} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "vmlinux-6.1.158"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := baseimage.Resolve(t.Context(), "file://"+tree, nil, version(t, "v1.15.1"), arch)
	if err != nil || got.Kernel.Key != train15+"vmlinux-6.1.155" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// pages answers requests one after the other.
type pages struct {
	texts []string
	asked []string
}

func (p *pages) Bytes(_ context.Context, url string, limit int64) ([]byte, error) {
	p.asked = append(p.asked, url)
	text := p.texts[min(len(p.asked), len(p.texts))-1]
	if int64(len(text)) > limit {
		return nil, errors.New("too large")
	}
	return []byte(text), nil
}

func TestListingThatNeverEndsIsGivenUp(t *testing.T) {
	t.Parallel()
	more := func(token string) string {
		return "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>" + token + "</NextContinuationToken></ListBucketResult>"
	}
	var fresh, many []string
	for i := range 100 {
		fresh = append(fresh, more(fmt.Sprint(i)))
	}
	for i := range 60 {
		many = append(many, strings.Replace(more(fmt.Sprint(i)), "<IsTruncated>", strings.Repeat("<Contents><Key>"+train12+"x</Key></Contents>", 1000)+"<IsTruncated>", 1))
	}
	tests := []struct {
		name  string
		texts []string
		want  string
		asked int
	}{
		{"the same token", []string{more("a")}, "does not end", 2},
		{"a loop of two", []string{more("a"), more("b"), more("a")}, "does not end", 3},
		{"no token", []string{more("")}, "does not end", 1},
		{"always a new token", fresh, "more than 64 pages", 64},
		{"always more keys", many, "more than 50000 keys", 51},
	}
	for _, tt := range tests {
		p := &pages{texts: tt.texts}
		_, err := baseimage.Resolve(t.Context(), "https://h", p, version(t, "v1.12.1"), arch)
		if text := facts(t, err, errcode.BaseImageResolveFailed); !strings.Contains(text, tt.want) || len(p.asked) != tt.asked {
			t.Errorf("%s: got %q after %d requests, want %q after %d", tt.name, text, len(p.asked), tt.want, tt.asked)
		}
	}
}

func TestListingMustBeOne(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "Sign in", "<html><body>Sign in</body></html>", "<ListBucketResult>",
		"<Error><Code>AccessDenied</Code></Error>",
		"<ListBucketResult><Contents><Size>many</Size></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Size>-1</Size></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Size>99999999999999999999</Size></Contents></ListBucketResult>",
		"<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult><Contents><Key>&a;</Key></Contents></ListBucketResult>",
		"<ListBucketResult>\xff</ListBucketResult>",
		"<ListBucketResult></ListBucketResult><ListBucketResult></ListBucketResult>",
		"<ListBucketResult></ListBucketResult>x",
		"<ListBucketResult><Contents></ListBucketResult></Contents>",
		"<ListBucketResult><Contents><Key>a<b/>c</Key></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key>&nbsp;</Key></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key>&#0;</Key></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key>&#xD800;</Key></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key>&amp</Key></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key><![CDATA[a]]></Key></Contents></ListBucketResult>",
		"<ListBucketResult a=\">\"></ListBucketResult>",
		"<ListBucketResult><!-- </ListBucketResult>",
		"<ListBucketResult>" + strings.Repeat("<a>", 20) + strings.Repeat("</a>", 20) + "</ListBucketResult>",
		"</ListBucketResult>",
	} {
		_, err := baseimage.Resolve(t.Context(), "https://h", &pages{texts: []string{text}}, version(t, "v1.12.1"), arch)
		facts(t, err, errcode.BaseImageResolveFailed)
	}
}

func TestListingOfAServerThatIgnoresTheQuestionWorks(t *testing.T) {
	t.Parallel()
	p := &pages{texts: listings(ci, len(ci))}
	got, err := baseimage.Resolve(t.Context(), "https://h", p, version(t, "v1.16.1"), arch)
	if err != nil || got.Kernel.Key != newBuild+"vmlinux-6.18.39" || got.Kernel.URL != "https://h/"+got.Kernel.Key {
		t.Errorf("got %+v, %v", got, err)
	}
}

// listings are the pages of a listing.
func listings(keys []string, perPage int) []string {
	var texts []string
	for page := range slices.Chunk(keys, perPage) {
		var b bytes.Buffer
		b.WriteString(xml.Header + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>spec.ccfc.min</Name>`)
		if len(texts)+1 < (len(keys)+perPage-1)/perPage {
			fmt.Fprintf(&b, `<NextContinuationToken>1ueGcxLPRx1Tr/%d==</NextContinuationToken><IsTruncated>true</IsTruncated>`, len(texts))
		} else {
			b.WriteString(`<IsTruncated>false</IsTruncated>`)
		}
		for _, key := range page {
			b.WriteString(`<Contents><Key>` + key + `</Key><LastModified>2026-03-09T12:34:56.000Z</LastModified>` +
				`<ETag>&quot;0f343b0931126a20f133d67c2b018a3b-6&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>` +
				`<ChecksumType>FULL_OBJECT</ChecksumType><Size>44279576</Size><StorageClass>INTELLIGENT_TIERING</StorageClass></Contents>`)
		}
		b.WriteString(`</ListBucketResult>`)
		texts = append(texts, b.String())
	}
	return texts
}

func BenchmarkResolve5000Keys(b *testing.B) {
	keys := make([]string, 5000)
	for i := range keys {
		switch i % 4 {
		case 0:
			keys[i] = fmt.Sprintf("%subuntu-%d.%02d.squashfs", train15, 10+i%20, i%12)
		case 1:
			keys[i] = fmt.Sprintf("%svmlinux-6.1.%d", train15, i)
		case 2:
			keys[i] = fmt.Sprintf("%svmlinux-5.10.%d-no-acpi", train15, i)
		default:
			keys[i] = fmt.Sprintf("%svmlinux-6.1.%d.config", train15, i)
		}
	}
	texts := listings(keys, 1000)
	v := version(b, "v1.15.1")
	b.ReportAllocs()
	for b.Loop() {
		got, err := baseimage.Resolve(b.Context(), "https://h", &pages{texts: texts}, v, arch)
		if err != nil || got.Kernel.Key != train15+"vmlinux-6.1.4997" {
			b.Fatal(got, err)
		}
	}
}

func FuzzReadPage(f *testing.F) {
	for _, text := range listings(ci, 20) {
		f.Add([]byte(text))
	}
	f.Add([]byte("<?xml version=\"1.0\"?><!-- c --><ListBucketResult >\n<Contents><Key>a&amp;&#x41;&#66;&quot;</Key><Owner><ID>x</ID></Owner><Size>7</Size></Contents><StartAfter/></ListBucketResult>\n"))
	f.Add([]byte(`<ListBucketResult><CommonPrefixes><Prefix>firecracker-ci/v1.7/</Prefix></CommonPrefixes><IsTruncated>true</IsTruncated></ListBucketResult>`))
	f.Add([]byte(`<ListBucketResult><Contents><Key>firecracker-ci/v1.12/x86_64/../vmlinux-6.1.1</Key><Size>1</Size></Contents></ListBucketResult>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var found []string
		next, err := baseimage.ReadPage(data, func(o baseimage.Object) error {
			found = append(found, fmt.Sprint(o.Key, " ", o.ETag, " ", o.Size))
			return nil
		})
		if err == nil {
			if want, token, ok := readSlowly(data); ok && !bytes.ContainsRune(data, '\r') {
				slices.Sort(found)
				if diff := cmp.Diff(want, found); diff != "" || (next == nil) != (token == nil) || next != nil && *next != *token {
					t.Errorf("token %v, want %v; keys (-want +got):\n%s", next, token, diff)
				}
			}
		}
		got, err := baseimage.Resolve(t.Context(), "https://h/b", &pages{texts: []string{string(data)}}, version(t, "v1.12.1"), arch)
		if err != nil {
			facts(t, err, errcode.BaseImageResolveFailed)
			return
		}
		for _, o := range []baseimage.Object{got.Kernel, got.Rootfs} {
			if dir, name := filepath.Split(o.Key); dir != train12 || o.URL != "https://h/b/"+o.Key || strings.HasPrefix(name, ".") || o.Size < 1 {
				t.Errorf("took %+v", o)
			}
		}
	})
}

// readSlowly reads a page with encoding/xml, and returns what is there in order.
func readSlowly(data []byte) (found []string, next *string, ok bool) {
	var page struct {
		XMLName   xml.Name `xml:"ListBucketResult"`
		Truncated bool     `xml:"IsTruncated"`
		NextToken string   `xml:"NextContinuationToken"`
		Contents  []struct {
			Key  string `xml:"Key"`
			ETag string `xml:"ETag"`
			Size int64  `xml:"Size"`
		} `xml:"Contents"`
		Prefixes []string `xml:"CommonPrefixes>Prefix"`
	}
	if xml.Unmarshal(data, &page) != nil {
		return nil, nil, false
	}
	for _, c := range page.Contents {
		found = append(found, fmt.Sprint(c.Key, " ", c.ETag, " ", c.Size))
	}
	for _, prefix := range page.Prefixes {
		found = append(found, fmt.Sprint(prefix, " ", "", " ", 0))
	}
	slices.Sort(found)
	if page.Truncated {
		next = &page.NextToken
	}
	return found, next, true
}

func FuzzChoose(f *testing.F) {
	for _, key := range ci {
		f.Add(filepath.Base(key), "vmlinux-6.1.9")
	}
	f.Add("vmlinux-99999.1.1", "ubuntu-24.04.squashfs")
	f.Add("ubuntu-24.04.ext4", "ubuntu-22.04.squashfs")
	f.Fuzz(func(t *testing.T, a, b string) {
		v := version(t, "v1.12.1")
		kernel, rootfs := baseimage.Choose([]string{train12 + a, train12 + b}, 1, v)
		otherKernel, otherRootfs := baseimage.Choose([]string{train12 + b, train12 + a}, 1, v)
		sameVersion := func(x, y string) bool { // 6.01 is 6.1
			return len(x) > 0 && len(y) > 0 && x != y && strings.Contains(x+y, "0")
		}
		if kernel != otherKernel && !sameVersion(kernel, otherKernel) || rootfs != otherRootfs && !sameVersion(rootfs, otherRootfs) {
			t.Errorf("the choice depends on the order: %q %q or %q %q", kernel, rootfs, otherKernel, otherRootfs)
		}
		if strings.ContainsAny(kernel+rootfs, "/\\\x00\n") {
			t.Errorf("took %q and %q", kernel, rootfs)
		}
		if k, r := baseimage.Choose([]string{train12 + a, train12 + b}, 0, v); k+r != "" {
			t.Errorf("took %q and %q, which are empty", k, r)
		}
	})
}
