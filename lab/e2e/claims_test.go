package e2e_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartvm/smartvm/lab/internal/claim"
)

func TestMain(m *testing.M) {
	if code, is := command(os.Args[1:]); is {
		os.Exit(code)
	}
	os.Exit(claim.Main(m))
}

// claims states what the test proves: a statement of the contract and a sentence
// for docs/verified.md. Both are literals, and the call is one of the test's own.
func claims(t *testing.T, contract, text string) {
	t.Helper()
	claim.State(t, contract, text)
}

// TestDocumentSaysWhatTheTestsClaim is the only one here that claims nothing itself.
func TestDocumentSaysWhatTheTestsClaim(t *testing.T) {
	t.Parallel()
	want := claimed(t)
	path := filepath.Join("..", "..", "docs", "verified.md")
	text, err := os.ReadFile(path)
	must(t, err)
	got := claim.ParseDocument(string(text))
	order := func(a, b claim.Claim) int { return strings.Compare(a.Test+a.Contract+a.Text, b.Test+b.Contract+b.Text) }
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is behind: make verified\n%s", path, diff)
	}
}

// claimed reads the claims out of the sources of this package.
func claimed(t *testing.T) (all []claim.Claim) {
	t.Helper()
	paths, err := filepath.Glob("*_test.go")
	must(t, err)
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		must(t, err)
		for _, d := range file.Decls {
			f, isFunc := d.(*ast.FuncDecl)
			if !isFunc || !strings.HasPrefix(f.Name.Name, "Test") || f.Name.Name == "TestMain" {
				continue
			}
			own := claimsOf(t, f)
			if len(own) == 0 && f.Name.Name != "TestDocumentSaysWhatTheTestsClaim" {
				t.Errorf("%s claims nothing", f.Name.Name)
			}
			all = append(all, own...)
		}
	}
	return all
}

func claimsOf(t *testing.T, f *ast.FuncDecl) (own []claim.Claim) {
	t.Helper()
	ast.Inspect(f, func(n ast.Node) bool {
		call, isCall := n.(*ast.CallExpr)
		if !isCall {
			return true
		}
		if callee, named := call.Fun.(*ast.Ident); !named || callee.Name != "claims" {
			return true
		}
		own = append(own, claim.Claim{Contract: literal(t, call.Args[1]), Text: literal(t, call.Args[2]), Test: f.Name.Name, Passed: true})
		return true
	})
	return own
}

func literal(t *testing.T, e ast.Expr) string {
	t.Helper()
	lit, isLiteral := e.(*ast.BasicLit)
	if !isLiteral {
		t.Fatalf("a claim is not a literal: %T", e)
	}
	text, err := strconv.Unquote(lit.Value)
	must(t, err)
	return text
}
