//! Flink from Maven Central: its class path by Maven into the bench's own repository, our few classes by javac.
//!
//! Versions stand in `bench/flink/pom.xml`; Maven is told to refuse what does not have its checksum. The network is asked once, and again
//! when the pom has changed.

use crate::step;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which goal writes a class path; pinned, as everything is.
const CLASSPATH: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath";
/// Our classes' language.
const JAVA_MIN: u32 = 17;
const LACKS: &str =
    "the Flink peer needs a JDK (17 or newer) and Maven on the PATH\ninstall them: apt-get install openjdk-17-jdk-headless maven";

/// The class path with everything on it; what is missing is brought.
pub fn classpath(root: &Path, cache: &Path) -> Result<String> {
    programs()?;
    let (sources, home) = (root.join("bench/flink"), cache.join("flink"));
    std::fs::create_dir_all(&home).with_context(|| format!("cannot make folder={}", home.display()))?;
    let jars = jars(&sources.join("pom.xml"), &home)?;
    let classes = home.join("classes");
    let _ = std::fs::remove_dir_all(&classes);
    let mut javac = Command::new("javac");
    javac
        .args(["-Xlint:all,-classfile,-serial,-processing", "-cp", &jars, "-d"])
        .arg(&classes)
        .args(java_files(&sources.join("peer"))?);
    step::wait(&mut javac, "javac bench/flink/peer/*.java")?;
    // The folder with our services file, too: Flink finds tables by it.
    let path =
        [classes, sources.join("resources")].iter().map(|p| super::text(p).map(str::to_owned)).collect::<Result<Vec<_>>>()?;
    Ok(format!("{}:{jars}", path.join(":")))
}

fn programs() -> Result<()> {
    let said = |program: &str| {
        let out = Command::new(program).arg("-version").output().ok().filter(|out| out.status.success())?;
        Some(format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
    };
    let missing: Vec<&str> = ["java", "javac", "mvn"].into_iter().filter(|program| said(program).is_none()).collect();
    if !missing.is_empty() {
        bail!("not found: {}\n{LACKS}", missing.join(", "));
    }
    let version = said("java").unwrap_or_default();
    match major(&version) {
        Some(major) if major >= JAVA_MIN => Ok(()),
        _ => bail!("java is too old or does not tell its version: {}\n{LACKS}", version.lines().next().unwrap_or_default()),
    }
}

/// The first number of `... version "17.0.15" ...`; of `"1.8.0_402"` it is the second.
fn major(said: &str) -> Option<u32> {
    let quoted = said.split('"').nth(1)?;
    let mut numbers = quoted.split(|c: char| !c.is_ascii_digit());
    match numbers.next()?.parse().ok()? {
        1 => numbers.next()?.parse().ok(),
        major => Some(major),
    }
}

/// Flink's jars and what they need, as a class path; asked of Maven when the pom is another one or a jar is gone.
fn jars(pom: &Path, home: &Path) -> Result<String> {
    let (list, resolved) = (home.join("classpath.txt"), home.join("pom.xml"));
    let wanted = std::fs::read_to_string(pom).with_context(|| format!("cannot read {}", pom.display()))?;
    let have = std::fs::read_to_string(&list).unwrap_or_default();
    let complete = !have.is_empty() && have.split(':').all(|jar| Path::new(jar).is_file());
    if complete && std::fs::read_to_string(&resolved).is_ok_and(|pom| pom == wanted) {
        return Ok(have);
    }
    println!("== Flink from Maven Central, once: {}", home.display());
    let mut mvn = Command::new("mvn");
    mvn.args(["--batch-mode", "--quiet", "--strict-checksums", "--file"]).arg(pom);
    mvn.arg(format!("-Dmaven.repo.local={}", home.join("repository").display()));
    mvn.arg(format!("-Dmdep.outputFile={}", list.display())).arg(CLASSPATH);
    step::wait(&mut mvn, "mvn dependency:build-classpath").context("Flink's jars come from Maven Central")?;
    // Last, so that an installation that was cut off is begun again.
    std::fs::write(&resolved, wanted).with_context(|| format!("cannot write {}", resolved.display()))?;
    let have = std::fs::read_to_string(&list).with_context(|| format!("Maven wrote no {}", list.display()))?;
    Ok(have.trim().to_owned())
}

fn java_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let all = std::fs::read_dir(dir).with_context(|| format!("cannot read folder={}", dir.display()))?;
    let mut files: Vec<PathBuf> =
        all.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "java")).collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jdk_tells_its_major_version() {
        assert_eq!(major("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(major("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(major("java version \"1.8.0_402\""), Some(8));
        assert_eq!(major("command not found"), None);
    }

    #[test]
    fn maven_is_not_asked_while_the_pom_is_the_same_and_the_jars_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let (home, pom) = (dir.path(), dir.path().join("wanted.xml"));
        let jar = home.join("a.jar");
        std::fs::write(&pom, "<project/>").unwrap();
        std::fs::write(home.join("pom.xml"), "<project/>").unwrap();
        std::fs::write(&jar, "").unwrap();
        std::fs::write(home.join("classpath.txt"), jar.to_str().unwrap()).unwrap();
        assert_eq!(jars(&pom, home).unwrap(), jar.to_str().unwrap());
    }
}
