//! The commands of the README are run as they stand there, one after the other, in a scratch folder.

mod binary;

#[test]
fn commands_of_the_readme_work() {
    let page = include_str!("../README.md");
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("holiday");
    std::fs::create_dir(&photos).unwrap();
    // What the README supposes to be there: a folder of photographs.
    for i in 0..12 {
        lae_engine::data::procedural::photograph(9, i, 96).save(photos.join(format!("{i}.jpg"))).unwrap();
    }
    // And kernels with a specification.
    std::fs::write(dir.path().join("kernels.ptx"), include_str!("../ptx/tests/ptx/basic.ptx")).unwrap();
    let spec = "[buffers]\nx = { type = 'f32', count = 64, random = 1 }\ny = { type = 'f32', count = 64, zeros = true }
        [[launch]]\nkernel = 'saxpy'\nblock = 64\nargs = [64, 2.0, { read = 'x' }, { update = 'y' }]\n";
    std::fs::write(dir.path().join("kernels.toml"), spec).unwrap();
    let mut run = Vec::new();
    for line in page.split("```sh\n").skip(1).flat_map(|b| b.split("```").next().unwrap_or("").lines()) {
        let line = line.split(" #").next().unwrap_or("").trim();
        if line.is_empty() || line == "bash tests/all.sh" {
            continue; // the gate, of which this test is a part
        }
        let rest = line.strip_prefix("cargo run --release -- ").or(line.strip_prefix("lae-engine "));
        let mut args: Vec<&str> =
            rest.unwrap_or_else(|| panic!("{line}: not a command of this program")).split_whitespace().collect();
        // Minutes become seconds; everything else is as printed.
        if args[0] == "train" && !args.contains(&"--preset") && !args.contains(&"--resume") {
            args.extend(["--preset", "smoke"]);
            if !args.contains(&"--detector") {
                args.extend(["--set", "selection.annotations=8"]);
            }
        }
        let out = binary::command().current_dir(dir.path()).args(&args).output().unwrap();
        assert!(out.status.success(), "{line}\n{}", binary::text(&out.stderr));
        run.push(args[0].to_string());
    }
    for command in ["train", "eval", "detect", "forge", "describe", "ptx", "doctor"] {
        assert!(run.iter().any(|r| r == command), "the README shows no {command}: {run:?}");
    }
}
