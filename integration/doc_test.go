package integration

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestExportedNamesAreDocumented requires a comment on every package and every
// exported name.
func TestExportedNamesAreDocumented(t *testing.T) {
	err := filepath.WalkDir("..", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		files := token.NewFileSet()
		names, _ := filepath.Glob(filepath.Join(dir, "*.go"))
		var asts []*ast.File
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(files, name, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			asts = append(asts, f)
		}
		if len(asts) == 0 {
			return nil
		}
		p, err := doc.NewFromFiles(files, asts, dir)
		if err != nil {
			return err
		}
		checkDocs(t, dir, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkDocs(t *testing.T, dir string, p *doc.Package) {
	if p.Doc == "" {
		t.Errorf("package %s has no comment", dir)
	}
	funcs := p.Funcs
	for _, ty := range p.Types {
		if ty.Doc == "" {
			t.Errorf("%s.%s has no comment", dir, ty.Name)
		}
		funcs = append(append(funcs, ty.Methods...), ty.Funcs...)
	}
	for _, f := range funcs {
		if f.Doc == "" {
			t.Errorf("%s.%s has no comment", dir, strings.TrimPrefix(f.Recv+"."+f.Name, "."))
		}
	}
}
