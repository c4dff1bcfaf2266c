// A reader of Strongroom's proofs, checkpoints and tiles that shares no code with it: signatures, hashes and proofs
// are checked by golang.org/x/mod/sumdb, the packages of Go's own checksum database.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(7)
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	fail(err)
	return data
}

// checkpoint opens a signed note and reads the tree's head from its text.
func checkpoint(vkey string, data []byte) (string, tlog.Tree) {
	verifier, err := note.NewVerifier(vkey)
	fail(err)
	opened, err := note.Open(data, note.VerifierList(verifier))
	fail(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != verifier.Name() {
		fail(fmt.Errorf("not a checkpoint of %s", verifier.Name()))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	fail(err)
	root, err := tlog.ParseHash(lines[2])
	fail(err)
	return lines[0], tlog.Tree{N: size, Hash: root}
}

// split parts a proof file: its first lines, its hashes, and the checkpoint.
func split(data []byte, names ...string) (map[string]string, []tlog.Hash, []byte) {
	head, signed, found := bytes.Cut(data, []byte("\n\n"))
	if !found {
		fail(fmt.Errorf("no checkpoint in the proof"))
	}
	values := map[string]string{}
	var hashes []tlog.Hash
	for _, line := range strings.Split(string(head), "\n") {
		name, value, _ := strings.Cut(line, " ")
		known := false
		for _, each := range names {
			known = known || each == name
		}
		if known {
			values[name] = value
			continue
		}
		hash, err := tlog.ParseHash(line)
		fail(err)
		hashes = append(hashes, hash)
	}
	return values, hashes, signed
}

func inclusion(vkey, path string) {
	values, hashes, signed := split(read(path), "c2sp.org/tlog-proof@v1", "extra", "index")
	_, tree := checkpoint(vkey, signed)
	index, err := strconv.ParseInt(values["index"], 10, 64)
	fail(err)
	record, err := base64.StdEncoding.DecodeString(values["extra"])
	fail(err)
	fail(tlog.CheckRecord(hashes, tree.N, tree.Hash, index, tlog.RecordHash(record)))
}

func growth(vkey, oldPath, path string) {
	values, hashes, signed := split(read(path), "old")
	_, newer := checkpoint(vkey, signed)
	_, older := checkpoint(vkey, read(oldPath))
	if values["old"] != strconv.FormatInt(older.N, 10) {
		fail(fmt.Errorf("the proof begins elsewhere"))
	}
	fail(tlog.CheckTree(hashes, newer.N, newer.Hash, older.N, older.Hash))
}

// folder reads tiles as C2SP names them: as Go does, without the height.
type folder string

func (f folder) Height() int { return 8 }

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f folder) path(tile tlog.Tile) string {
	return filepath.Join(string(f), strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(f.path(tile))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has another size than its name says", f.path(tile))
		}
		found = append(found, data)
	}
	return found, nil
}

func tiles(vkey, path string) {
	_, tree := checkpoint(vkey, read(filepath.Join(path, "checkpoint")))
	reader := tlog.TileHashReader(tree, folder(path))
	// Every tile there must be, also those that no leaf's way to the root needs.
	var there []tlog.Tile
	for _, tile := range tlog.NewTiles(8, 0, tree.N) {
		// Some versions list every narrower partial tile too.
		if tile.W == 256 || int64(tile.W) == tree.N>>(8*uint(tile.L))%256 {
			there = append(there, tile)
		}
	}
	_, err := folder(path).ReadTiles(there)
	fail(err)
	for first := int64(0); first < tree.N; first += 256 {
		width := tree.N - first
		if width > 256 {
			width = 256
		}
		entries := tlog.Tile{H: 8, L: -1, N: first / 256, W: int(width)}
		bundle := read(filepath.Join(path, strings.Replace(entries.Path(), "tile/8/data/", "tile/entries/", 1)))
		var wanted []int64
		for n := first; n < first+width; n++ {
			wanted = append(wanted, tlog.StoredHashIndex(0, n))
		}
		hashes, err := reader.ReadHashes(wanted)
		fail(err)
		for _, hash := range hashes {
			length := int(binary.BigEndian.Uint16(bundle))
			if tlog.RecordHash(bundle[2:2+length]) != hash {
				fail(fmt.Errorf("an entry after %d is not in the tree", first))
			}
			bundle = bundle[2+length:]
		}
		if len(bundle) != 0 {
			fail(fmt.Errorf("the bundle of %d is too long", first))
		}
	}
	fmt.Println(tree.N)
}

// all prints a digest of every proof there is up to a size.
func all(count int64) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	show := func(kind string, a, b int64, hashes []tlog.Hash) {
		digest := sha256.New()
		for _, hash := range hashes {
			digest.Write(hash[:])
		}
		fmt.Printf("%s %d %d %x\n", kind, a, b, digest.Sum(nil))
	}
	for n := int64(1); n <= count; n++ {
		hashes, err := tlog.StoredHashes(n-1, []byte(fmt.Sprintf("record %d", n-1)), reader)
		fail(err)
		stored = append(stored, hashes...)
		root, err := tlog.TreeHash(n, reader)
		fail(err)
		show("root", n, n, []tlog.Hash{root})
		for i := int64(0); i < n; i++ {
			proof, err := tlog.ProveRecord(n, i, reader)
			fail(err)
			show("inclusion", i, n, proof)
		}
		for m := int64(1); m <= n; m++ {
			proof, err := tlog.ProveTree(n, m, reader)
			fail(err)
			show("consistency", m, n, proof)
		}
	}
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "all":
		count, err := strconv.ParseInt(os.Args[2], 10, 64)
		fail(err)
		all(count)
	case len(os.Args) == 4 && os.Args[1] == "checkpoint":
		origin, tree := checkpoint(os.Args[2], read(os.Args[3]))
		fmt.Println(origin, tree.N, tree.Hash)
	case len(os.Args) == 4 && os.Args[1] == "inclusion":
		inclusion(os.Args[2], os.Args[3])
	case len(os.Args) == 5 && os.Args[1] == "growth":
		growth(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 4 && os.Args[1] == "tiles":
		tiles(os.Args[2], os.Args[3])
	default:
		fail(fmt.Errorf("unknown command"))
	}
}
