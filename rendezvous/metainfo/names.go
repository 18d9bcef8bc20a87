package metainfo

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The rules for file names. A name that could leave the download folder, or that says nothing, refuses the torrent;
// a name that some file system cannot hold is mapped to one that all can, since the download folder may be a USB disk
// or a network share with the rules of Windows. The mapping depends on the torrent alone, so every device and every
// later run gets the same names:
//
//	..  .  (empty)  /x  \x  C:\x  a/b  a\..\b  with NUL    refused
//	control and invisible direction characters, \ : * ? " < > | and bytes that are not UTF-8 become _
//	a trailing dot or space becomes _
//	CON, nul.txt, Com1.c and the like get _ before them
//	names over 250 bytes are cut, marked with a hash, and keep their extension
//	names that differ in case only, and names whose unfinished file "x.part" is another file: the later is marked
//	with a hash (XT.h and xt.h become XT.h and xt~56f2ece8.h)

// maxName leaves room for ".part" in the 255 bytes that file systems give a name.
const maxName = 250

// partSuffix marks a file that is not complete yet.
const partSuffix = ".part"

// checkName says why a name must not be used at all.
func checkName(name string) error {
	if strings.ContainsRune(name, 0) {
		return errors.New("contains a zero byte")
	}
	if strings.HasPrefix(name, "/") || strings.HasPrefix(name, `\`) || hasDrive(name) {
		return errors.New("is an absolute path")
	}
	if strings.ContainsRune(name, '/') {
		return errors.New("has a slash inside a name")
	}
	// A backslash is an ordinary character here but parts names on Windows.
	for part := range strings.SplitSeq(name, `\`) {
		switch part {
		case "":
			return errors.New("has an empty name in it")
		case ".", "..":
			return errors.New(`has "` + part + `" in it, which could leave the download folder`)
		}
	}
	return nil
}

// hasDrive tells whether a name starts like C:\ or C:/.
func hasDrive(name string) bool {
	return len(name) > 2 && name[1] == ':' && (name[2] == '\\' || name[2] == '/') && unicode.IsLetter(rune(name[0]))
}

// safeName maps a name that passed checkName to one that every common file system takes: at most maxName bytes of
// valid UTF-8.
func safeName(name string) string {
	safe := strings.Map(safeRune, strings.ToValidUTF8(name, "_"))
	if last := safe[len(safe)-1]; last == '.' || last == ' ' {
		safe = safe[:len(safe)-1] + "_"
	}
	if isReserved(safe) {
		safe = "_" + safe
	}
	if len(safe) > maxName {
		safe = mark(safe, name)
	}
	return safe
}

func safeRune(r rune) rune {
	if strings.ContainsRune(`\:*?"<>|`, r) {
		return '_'
	}
	return visibleRune(r)
}

// visibleRune maps what would spoil a line of text, or show it in another order than it is.
func visibleRune(r rune) rune {
	if r > ' ' && r < 0x7f {
		return r
	}
	if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
		return '_'
	}
	return r
}

// isReserved tells whether Windows takes a name for a device, whatever its extension.
func isReserved(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	port, ok := strings.CutPrefix(stem, "COM")
	if !ok {
		port, ok = strings.CutPrefix(stem, "LPT")
	}
	return ok && utf8.RuneCountInString(port) == 1 && strings.Contains("0123456789¹²³", port)
}

// mark makes a name unlike any other by a hash over seed, and cuts it to maxName bytes. It keeps the extension.
func mark(name, seed string) string {
	sum := sha1.Sum([]byte(seed))
	tag := "~" + hex.EncodeToString(sum[:4])
	stem, ext := name, ""
	if dot := strings.LastIndexByte(name, '.'); dot > 0 && len(name)-dot <= 20 {
		stem, ext = name[:dot], name[dot:]
	}
	if most := maxName - len(tag) - len(ext); len(stem) > most {
		for most > 0 && !utf8.RuneStart(stem[most]) {
			most--
		}
		stem = stem[:most]
	}
	return stem + tag + ext
}

// fold maps names that a file system without case takes for the same one to the same text.
func fold(name string) string {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			// Some letters are alike in upper case only, such as the two lower sigmas of Greek.
			return strings.ToLower(strings.ToUpper(name))
		}
	}
	return strings.ToLower(name)
}
