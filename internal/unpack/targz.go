package unpack

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// File is a member of an archive that was written.
type File struct {
	Member string // its name in the archive
	Name   string // its name in the directory
	Size   int64  // bytes
	SHA256 string // of the content, 64 lower-case hexadecimal digits
}

// TarGz reads a gzip-compressed tar archive to its end and writes the wanted
// regular members into dir, in the order of the archive. want is asked for each
// of them and returns the name to write it under, or "" to pass over it. A
// written file is new, has mode 0600 and has reached the disk; links of dir are
// not followed out of it.
//
// The error matches [ErrRefused] when the archive breaks the rules of the
// package or its limits. After any error, no file is left behind.
func TarGz(ctx context.Context, archive io.Reader, dir *os.Root, limits Limits, want func(member string) string) ([]File, error) {
	files, err := extract(ctx, archive, dir, limits.withDefaults(), want)
	if err == nil {
		return files, nil
	}
	for _, f := range files {
		if gone := dir.Remove(f.Name); gone != nil {
			err = errors.Join(err, gone)
		}
	}
	return nil, err
}

// extract returns what it has written, with an error too.
func extract(ctx context.Context, archive io.Reader, dir *os.Root, limits Limits, want func(string) string) ([]File, error) {
	compressed, err := gzip.NewReader(reader(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return archive.Read(p)
	}))
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	stream := &bounded{from: compressed, left: limits.Size}
	members := tar.NewReader(stream)
	var files []File
	for n := 0; ; n++ {
		header, err := members.Next()
		if errors.Is(err, io.EOF) {
			// What follows has no members, but its checksum covers all that was read.
			_, err := io.Copy(io.Discard, stream)
			return files, err
		}
		if err != nil {
			return files, fmt.Errorf("read member %d: %w", n+1, err)
		}
		if n == limits.Members {
			return files, refused("it has more than %d members", limits.Members)
		}
		if err := check(header, limits); err != nil {
			return files, err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		name := want(header.Name)
		if name == "" {
			continue
		}
		file := File{Member: header.Name, Name: name, Size: header.Size}
		if file.SHA256, err = write(dir, name, members, header.Size); err != nil {
			return files, fmt.Errorf("unpack %s: %w", quote(header.Name), err)
		}
		files = append(files, file)
	}
}

// write makes a file of size bytes, or none, and returns its hash.
func write(dir *os.Root, name string, from io.Reader, size int64) (string, error) {
	out, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, hash), from)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return "", errors.Join(err, dir.Remove(name))
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// reader is a function that reads.
type reader func(p []byte) (int, error)

// Read calls the function.
func (r reader) Read(p []byte) (int, error) { return r(p) }
