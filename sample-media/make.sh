#!/usr/bin/env bash
# Makes the clips of this folder with ffmpeg: a moving picture with a clock and a frame counter, and once a second a
# white flash together with a tone burst. The same ffmpeg and x264 give the same bytes.
#
#   bash sample-media/make.sh [FOLDER]      (default: this folder)
set -euo pipefail

out=$(cd "${1:-$(dirname "$0")}" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

ff=(ffmpeg -nostdin -hide_banner -v error -y -fflags +bitexact)
# One thread: x264's frame threads change its decisions with the number of cores.
exact=(-threads 1 -flags +bitexact -fflags +bitexact -map_metadata -1)

# clip NAME WIDTH HEIGHT FPS SECONDS B_FRAMES PROFILE VIDEO_KBIT AUDIO_KBIT
#
# SECONDS must be a whole number of 2 s GOPs and of AAC frames (1024 / 48000 s): a multiple of 8 at 25 and 30 fps.
clip() {
    local name=$1 width=$2 height=$3 fps=$4 seconds=$5 b_frames=$6 profile=$7 video_kbit=$8 audio_kbit=$9

    # testsrc2 draws its clock (hh:mm:ss.mmm) and its frame number itself, so no font is needed; they are shown again
    # three times as large. The flash lasts 0.1 s and begins at half past each second: the loop point is dark and
    # silent, so no burst is cut there.
    "${ff[@]}" -f lavfi -i "testsrc2=size=${width}x${height}:rate=${fps}:duration=${seconds},split[a][b];\
[b]crop=104:36:0:0,scale=iw*3:ih*3:flags=neighbor[clock];[a][clock]overlay=x=8:y=H-h-8,\
drawbox=x=iw*0.68:y=ih*0.06:w=iw*0.26:h=ih*0.26:color=black:t=fill,\
drawbox=x=iw*0.69:y=ih*0.08:w=iw*0.24:h=ih*0.22:color=white:t=fill:enable='between(mod(t,1),0.499,0.599)',format=yuv420p" \
        -c:v libx264 -preset slow -profile:v "$profile" -b:v "${video_kbit}k" -maxrate "${video_kbit}k" \
        -bufsize "${video_kbit}k" -g $((fps * 2)) -keyint_min $((fps * 2)) -sc_threshold 0 -bf "$b_frames" \
        -x264-params "open-gop=0:b-adapt=0:nal-hrd=none" -color_primaries bt709 -color_trc bt709 -colorspace bt709 \
        "${exact[@]}" "$scratch/$name.mp4"

    # Sound, three periods of it. The middle one is taken: its first frame overlaps with a frame of the period before,
    # as it will when the clip is played in a loop, and nothing of the encoder's start-up is left in it.
    "${ff[@]}" -f lavfi -i "aevalsrc='0.35*sin(2*PI*1000*t)*between(mod(t,1),0.5,0.6)|0.35*sin(2*PI*1000*t)*between(mod(t,1),0.5,0.6)'\
:s=48000:d=$((seconds * 3))" -c:a aac -b:a "${audio_kbit}k" "${exact[@]}" "$scratch/$name.m4a"

    # B-frames put the first picture's PTS b_delay frames after its DTS; FLV begins at DTS 0, so that is where PTS 0
    # lands. Sound is taken from as many whole AAC frames earlier: every tag then lies in [0, SECONDS) and a publisher
    # loops the file by adding SECONDS to each stamp, with no stamp going backwards at the seam.
    local b_delay_ms=0
    if [ "$b_frames" -gt 0 ]; then b_delay_ms=$((2 * 1000 / fps)); fi
    local early=$((b_delay_ms * 48 / 1024))
    local first=$((seconds * 48000 - early * 1024))
    local end=$((first + seconds * 48000))
    # Through NUT: bitstream filters see the time base of the file they write, and FLV's is too coarse to count samples.
    "${ff[@]}" -i "$scratch/$name.m4a" -c copy -bsf:a "noise=drop='lt(pts,$first)+gte(pts,$end)'" \
        -fflags +bitexact "$scratch/$name.nut"
    # An input's first stamp counts as 0, whatever it is.
    "${ff[@]}" -i "$scratch/$name.mp4" -itsoffset "-0.$(printf %06d $((early * 1024 * 1000 / 48)))" -i "$scratch/$name.nut" \
        -map 0:v -map 1:a -c copy -map_metadata -1 -fflags +bitexact -flvflags no_duration_filesize "$out/$name.flv"
}

clip clip 854 480 30 16 2 high 900 128
clip plain 640 360 25 8 0 baseline 500 96

ls -l "$out"/*.flv
