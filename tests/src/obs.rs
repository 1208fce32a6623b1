//! The real OBS Studio without a screen: Xvfb, software OpenGL, and a profile made here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::process::{Process, Scratch, wait_for};

/// Xvfb is up at once; a busy machine gets more.
const SCREEN: Duration = Duration::from_secs(20);

/// A running OBS that streams. Dropping it ends OBS and its screen.
pub struct Obs {
    /// The OBS process.
    pub process: Process,
    // After `process`: a screen that goes first makes OBS abort.
    _screen: Process,
}

impl Obs {
    /// Starts OBS, which plays `clip` in a loop as its scene and streams to `server` + `key` (OBS's two fields). x264 with
    /// the defaults of a fresh profile: B-frames, and a keyframe interval of "auto" (up to 250 pictures).
    pub fn start(scratch: &Scratch, clip: &Path, server: &str, key: &str) -> Obs {
        // -displayfd: Xvfb chooses a free display and tells which.
        let mut xvfb = Command::new("Xvfb");
        xvfb.args(["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"]);
        let number = scratch.join("display");
        let output = std::fs::File::create(&number).expect("a file in the test's folder");
        let screen = Process::start_piped("xvfb", xvfb, scratch, Stdio::from(output));
        let display = wait_for("a display", SCREEN, || {
            let text = std::fs::read_to_string(&number).ok()?;
            text.ends_with('\n').then(|| format!(":{}", text.trim()))
        });

        let home = scratch.join("obs-home");
        write_profile(&home, clip, server, key);
        let runtime = home.join("runtime");
        std::fs::create_dir_all(&runtime).expect("a folder in the test's folder");
        let mut obs = Command::new("obs");
        obs.args(["--startstreaming", "--multi", "--disable-missing-files-check", "--minimize-to-tray"]);
        obs.args(["--collection", "t", "--profile", "t", "--scene", "Scene"]);
        obs.env("HOME", &home).env("XDG_RUNTIME_DIR", &runtime).env("DISPLAY", &display);
        obs.env("XDG_CONFIG_HOME", home.join(".config"));
        obs.env("LIBGL_ALWAYS_SOFTWARE", "1").env("QT_QPA_PLATFORM", "xcb");
        let process = Process::start("obs", obs, scratch);
        Obs { process, _screen: screen }
    }
}

/// The files that OBS 29 to 31 wants to find so that it asks nothing at its first start.
fn write_profile(home: &Path, clip: &Path, server: &str, key: &str) {
    let base = home.join(".config/obs-studio");
    let write = |path: PathBuf, text: String| {
        std::fs::create_dir_all(path.parent().expect("a file in a folder"))
            .expect("a folder in the test's folder");
        std::fs::write(&path, text).expect("a file in the test's folder");
    };
    let global = "[General]\nFirstRun=true\nLastVersion=486539264\n\n[Basic]\nProfile=t\nProfileDir=t\n\
                  SceneCollection=t\nSceneCollectionFile=t\nConfigOnNewProfile=false\n";
    write(base.join("global.ini"), global.to_owned());
    // OBS 31 split global.ini in two.
    write(base.join("user.ini"), global.to_owned());
    let basic = "[General]\nName=t\n\n[Video]\nBaseCX=640\nBaseCY=360\nOutputCX=640\nOutputCY=360\nFPSCommon=30\n\n\
                 [Output]\nMode=Simple\nReconnect=true\n\n\
                 [SimpleOutput]\nVBitrate=800\nABitrate=128\nStreamEncoder=x264\nPreset=veryfast\n";
    write(base.join("basic/profiles/t/basic.ini"), basic.to_owned());
    let service = json!({
        "type": "rtmp_custom",
        "settings": { "server": server, "key": key, "use_auth": false, "bwtest": false },
    });
    write(base.join("basic/profiles/t/service.json"), service.to_string());
    let clip_source = json!({
        "id": "ffmpeg_source", "versioned_id": "ffmpeg_source", "name": "Clip", "enabled": true,
        "settings": { "is_local_file": true, "local_file": clip, "looping": true, "hw_decode": false },
    });
    let scene = json!({
        "id": "scene", "versioned_id": "scene", "name": "Scene", "enabled": true,
        "settings": { "id_counter": 1, "custom_size": false, "items": [{
            "name": "Clip", "id": 1, "visible": true, "locked": false, "rot": 0.0, "align": 5,
            "pos": { "x": 0.0, "y": 0.0 }, "scale": { "x": 1.0, "y": 1.0 },
            "bounds_type": 2, "bounds_align": 0, "bounds": { "x": 640.0, "y": 360.0 },
        }] },
    });
    let collection = json!({
        "name": "t", "current_scene": "Scene", "current_program_scene": "Scene",
        "scene_order": [{ "name": "Scene" }], "sources": [clip_source, scene],
    });
    write(base.join("basic/scenes/t.json"), collection.to_string());
}
