package storage

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mountEnv tells the test binary that it is in a mount namespace of its own.
const mountEnv = "STORAGE_TEST_MOUNTS"

// inMountNamespace runs the calling test again in namespaces in which it may mount, and reports whether this is that run.
func inMountNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(mountEnv) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mountEnv+"=1", quickExit)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EACCES) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this machine allows no user namespaces: %v", err)
		}
		t.Skipf("this machine allows no user namespaces: %v", err)
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("in the namespace: %v\n%s", err, out)
	}
	return false
}

// asNobody runs the calling test again as a user without privileges, unless this is one, and reports whether it is.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		return true
	}
	// By this name the program can be run although nobody may not look into its folder.
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), quickExit)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: 65534, Gid: 65534},
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("as nobody: %v\n%s", err, out)
	}
	return false
}

func TestMissingPermissionIsAnErrorOfTheDisk(t *testing.T) {
	if !asNobody(t) {
		return
	}
	r := newRig(t, severalFiles())
	r.fetch(0, 1, 2, 3, 4)
	r.reopen()
	os.Chmod(r.file("t"), 0o555)
	r.write(r.content.blocks(6)...)
	failed, _ := r.wantDiskFailed()
	if !errors.Is(failed, fs.ErrPermission) || failed.Path != r.file("t/c.part") || failed.Full() ||
		!strings.Contains(failed.Error(), "allow the agent to write there") {
		t.Errorf("%v", failed)
	}
	r.wantHave(0, 1, 2, 3, 4)
	os.Chmod(r.file("t"), 0o777)
	os.Chmod(r.file("t/a"), 0)
	r.reopen()
	failed, ok := errors.AsType[*DiskError](r.ReadBlock(0, 0, make([]byte, 1)))
	if !ok || !errors.Is(failed, fs.ErrPermission) || failed.Path != r.file("t/a") {
		t.Errorf("%v", failed)
	}
	// A file that cannot be read is not taken for one that is damaged.
	if err := r.Verify(t.Context(), nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Verify: %v", err)
	}
	r.wantClaims(0, 1, 2, 3, 4)
}

// mountTmpfs mounts a file system of that size, as tmpfs understands it.
func mountTmpfs(t *testing.T, dir, size string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}

func remount(t *testing.T, dir, size string, flags uintptr) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, "size="+size); err != nil {
		t.Fatal(err)
	}
}

// wantDiskFailed drains the events until the disk fails, and returns the error and the pieces verified before.
func (r *rig) wantDiskFailed() (failed *DiskError, verified []int) {
	r.t.Helper()
	for {
		switch e := r.next(); e.Kind {
		case PieceVerified:
			verified = append(verified, e.Piece)
		case DiskFailed:
			failed, ok := errors.AsType[*DiskError](e.Err)
			if !ok {
				r.t.Fatalf("%v is not a DiskError", e.Err)
			}
			return failed, verified
		default:
			r.t.Fatalf("event %+v", e)
		}
	}
}

func TestFullDiskStopsTheTorrentAndNothingVerifiedIsLost(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	r := newRig(t, newContent(4, 256<<10, File{Path: "t/big", Length: 5 << 20}))
	mountTmpfs(t, r.config.Dir, "2m")
	r.reopen()
	r.write(r.content.blocks(r.content.allPieces()...)...)
	failed, verified := r.wantDiskFailed()
	if len(verified) < 6 || len(verified) > 8 {
		t.Errorf("%d pieces of 256 KiB verified on 2 MiB", len(verified))
	}
	if !failed.Full() || failed.Free < 0 || failed.Free >= 256<<10 || !errors.Is(failed, unix.ENOSPC) {
		t.Errorf("%+v", failed)
	}
	path := r.file("t/big.part")
	if !strings.HasPrefix(failed.Error(), "disk full: writing "+path+": ") ||
		!strings.HasSuffix(failed.Error(), " bytes free in "+r.config.Dir+"; free some space and resume") {
		t.Errorf("message %q", failed)
	}
	r.wantHave(verified...)
	// Room alone does not make it go on.
	remount(t, r.config.Dir, "8m", 0)
	r.write(r.content.blocks(r.missing()[0])...)
	r.barrier()
	r.wantHave(verified...)
	if r.Partial() != 0 || r.config.Pool.Free() != r.config.Pool.Size() {
		t.Errorf("%d bytes partial, %d of the pool free", r.Partial(), r.config.Pool.Free())
	}
	r.reopen()
	r.wantHave(verified...)
	r.fetch(r.missing()...)
	r.wantFiles()
}

func TestFullDiskUnderTheJournalStopsTheTorrent(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	r := newRig(t, newContent(4, 16, File{Path: "a", Length: 16 * 3000}))
	state := filepath.Dir(r.config.Journal)
	mountTmpfs(t, state, "12k")
	r.reopen()
	drained := make(chan struct{})
	var failed *DiskError
	var verified []int
	go func() {
		defer close(drained)
		failed, verified = r.wantDiskFailed()
	}()
	r.write(r.content.blocks(r.content.allPieces()...)...)
	<-drained
	if !failed.Full() || failed.Path != r.config.Journal || failed.Dir != state {
		t.Errorf("%v", failed)
	}
	r.Close()
	if got := r.journalOnDisk(); got.torn {
		t.Error("a torn record was left, behind which a mark would be lost")
	}
	remount(t, state, "1m", 0)
	r.open()
	have := r.content.pieces() - len(r.missing())
	if have < len(verified) || len(verified) < 500 {
		t.Fatalf("%d pieces verified, %d there after all", len(verified), have)
	}
	r.fetch(r.missing()...)
	r.wantFiles()
}

func TestReadOnlyDiskCanBeReadAndRefusesToBeWritten(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	r := newRig(t, severalFiles())
	mountTmpfs(t, r.config.Dir, "2m")
	r.reopen()
	r.fetch(0, 1, 2, 3, 4)
	r.Close()
	remount(t, r.config.Dir, "2m", unix.MS_RDONLY)
	r.open()
	r.wantHave(0, 1, 2, 3, 4)
	if err := r.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	r.wantHave(0, 1, 2, 3, 4)
	r.write(r.content.blocks(5)...)
	failed, _ := r.wantDiskFailed()
	if !errors.Is(failed, unix.EROFS) || failed.Full() || !strings.Contains(failed.Error(), "make the file system writable") {
		t.Errorf("%v", failed)
	}
	r.wantHave(0, 1, 2, 3, 4)
}

func TestVanishedFileIsAnErrorOfTheDisk(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 1, 2, 3, 4)
	r.reopen()
	os.Remove(r.file("t/a"))
	failed, ok := errors.AsType[*DiskError](r.ReadBlock(0, 0, make([]byte, 10)))
	if !ok || failed.Op != "opening" || failed.Path != r.file("t/a") || !errors.Is(failed, fs.ErrNotExist) {
		t.Fatalf("%v", failed)
	}
	os.WriteFile(r.file("t/a"), []byte("short"), 0o666)
	failed, ok = errors.AsType[*DiskError](r.ReadBlock(0, 0, make([]byte, 10)))
	if !ok || failed.Op != "reading" {
		t.Fatalf("%v", failed)
	}
	// Something that is no file must not keep anybody waiting.
	r.fetch(9)
	r.reopen()
	os.Remove(r.file("t/c.part"))
	if err := unix.Mkfifo(r.file("t/c.part"), 0o666); err != nil {
		t.Fatal(err)
	}
	failed, ok = errors.AsType[*DiskError](r.ReadBlock(9, 0, make([]byte, 10)))
	if !ok || failed.Op != "opening" || !errors.Is(failed, errNotRegular) {
		t.Fatalf("%v", failed)
	}
}

func TestPlantedLinksLeadNowhere(t *testing.T) {
	secret := []byte("untouched")
	tests := []struct {
		name  string
		plant func(downloads, outside string) error
	}{
		{"a folder that is a link", func(d, o string) error { return os.Symlink(o, d+"/t") }},
		{"an unfinished file that is a link", func(d, o string) error {
			return errors.Join(os.Mkdir(d+"/t", 0o777), os.Symlink(o+"/secret", d+"/t/a.part"))
		}},
		{"a finished file that is a link", func(d, o string) error {
			return errors.Join(os.Mkdir(d+"/t", 0o777), os.Symlink(o+"/secret", d+"/t/a"))
		}},
		{"a link that leads nowhere yet", func(d, o string) error {
			return errors.Join(os.Mkdir(d+"/t", 0o777), os.Symlink("../../outside/new", d+"/t/a.part"))
		}},
		{"a pipe", func(d, o string) error {
			return errors.Join(os.Mkdir(d+"/t", 0o777), unix.Mkfifo(d+"/t/a.part", 0o666))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, newContent(2, BlockSize, File{Path: "t/a", Length: int64(len(secret))}))
			outside := filepath.Join(filepath.Dir(r.config.Dir), "outside")
			err := errors.Join(os.Mkdir(outside, 0o777), os.Mkdir(r.config.Dir, 0o777),
				os.WriteFile(outside+"/secret", secret, 0o666), tt.plant(r.config.Dir, outside))
			if err != nil {
				t.Fatal(err)
			}
			r.reopen()
			if r.NeedsCheck() {
				t.Error("a file elsewhere is taken for one of the torrent")
			}
			if err := r.Verify(t.Context(), nil); err != nil {
				t.Error(err)
			}
			r.wantHave()
			r.write(r.content.blocks(0)...)
			if failed, verified := r.wantDiskFailed(); len(verified) > 0 {
				t.Errorf("%v verified, then %v", verified, failed)
			}
			if err := r.Delete(); err != nil {
				t.Error(err)
			}
			got, err := os.ReadFile(outside + "/secret")
			if err != nil || !bytes.Equal(got, secret) {
				t.Errorf("the file outside is %q, %v", got, err)
			}
			if got := tree(t, outside); len(got) != 1 {
				t.Errorf("outside are now %v", got)
			}
		})
	}
}

func TestFileOfSomebodyElseIsNotReplaced(t *testing.T) {
	for _, name := range []string{"a", "a.part"} {
		r := newRig(t, newContent(2, BlockSize, File{Path: "a", Length: 5}))
		os.MkdirAll(r.config.Dir, 0o777)
		os.WriteFile(r.file(name), []byte("mine"), 0o666)
		r.write(r.content.blocks(0)...)
		failed, _ := r.wantDiskFailed()
		if !errors.Is(failed, fs.ErrExist) || failed.Path != r.file(name) || !strings.Contains(failed.Error(), "move that file away") {
			t.Errorf("%v", failed)
		}
		r.Close()
		if err := r.tryOpen(); name == "a" && !errors.Is(err, fs.ErrExist) {
			t.Errorf("opened while the name is still taken: %v", err)
		}
		if got, _ := os.ReadFile(r.file(name)); string(got) != "mine" {
			t.Errorf("the file is now %q", got)
		}
	}
}

func TestMessagesSayWhatToDo(t *testing.T) {
	for want, e := range map[string]*DiskError{
		"disk full: writing /d/a: 12345 bytes free in /d; free some space and resume":            {"writing", "/d/a", "/d", 12345, unix.ENOSPC},
		"disk: creating /d/a: permission denied; allow the agent to write there and resume":      {"creating", "/d/a", "/d", 9, unix.EACCES},
		"disk: reading /d/a: input/output error; check the disk and resume":                      {"reading", "/d/a", "/d", 9, unix.EIO},
		"disk: opening /d: no such file or directory; check that the disk is mounted and resume": {"opening", "/d", "/d", -1, unix.ENOENT},
	} {
		if e.Error() != want {
			t.Errorf("%q, want %q", e.Error(), want)
		}
	}
}
